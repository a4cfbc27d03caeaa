"""Which forms does personal data have, and is this really one? Patterns are for RE2, and within one unit.

The order is how sure each is: what two of them could be is the first.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import NamedTuple

import phonenumbers
from stdnum import bitcoin, iban, luhn
from stdnum.au import tfn
from stdnum.be import nn
from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.ch import ssn as ahv
from stdnum.cl import rut
from stdnum.cn import ric
from stdnum.de import idnr
from stdnum.dk import cpr
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.ie import pps
from stdnum.in_ import aadhaar, pan
from stdnum.it import codicefiscale
from stdnum.kr import rrn
from stdnum.mx import curp
from stdnum.nl import bsn
from stdnum.no import fodselsnummer
from stdnum.pl import pesel
from stdnum.pt import nif
from stdnum.se import personnummer
from stdnum.tr import tckimlik
from stdnum.us import ssn
from stdnum.za import idnr as za_id

Holds = Callable[[str, bool], bool]  # the value, and whether its context stands before it


class Kind(NamedTuple):
    name: str
    pattern: str
    holds: Holds
    context: str = ""  # what must, or may, stand in the 64 characters before it


def _always(value: str, near: bool) -> bool:
    return True


def _near(value: str, near: bool) -> bool:
    return near


def _if(check: Callable[[str], bool]) -> Holds:
    return lambda value, near: check(value)


def _near_if(check: Callable[[str], bool]) -> Holds:
    return lambda value, near: near and check(value)


def _card(value: str, near: bool) -> bool:
    digits = re.sub(r"[ -]", "", value)
    begins = digits[0] in "3456" or "22" <= digits[:2] <= "27" or digits[:4] in ("1800", "2131")
    return begins and len(set(digits)) > 1 and luhn.is_valid(digits)


def _ipv4(value: str, near: bool) -> bool:
    """A version, such as 1.2.3.4 of something, has its word before it, and then it is none."""
    return not near and not value.startswith(("0.", "127.", "255."))


def _ipv6(value: str, near: bool) -> bool:
    if value.count(":") < 3 or not re.search(r"\d", value):
        return False
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    return not address.is_loopback and not address.is_unspecified


_GROUPED = re.compile(r"(?:1[-. ]?)?(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}(?: ?(?:x|ext\.?) ?\d{1,6})?")
_DATE = re.compile(r"(?:\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{2,4})(?:[ T].*)?")


def _phone(value: str, near: bool) -> bool:
    digits = sum(one.isdigit() for one in value)
    if not 7 <= digits <= 19 or _DATE.fullmatch(value):
        return False
    if near or _GROUPED.fullmatch(value):
        return True
    return value.startswith(("+", "00")) and _possible(value if value[0] == "+" else f"+{value[2:]}")


def _possible(value: str) -> bool:
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(value))
    except phonenumbers.NumberParseException:
        return False


def _words(*words: str) -> str:
    """Any of these, not far before the value."""
    return rf"(?is)\b(?:{'|'.join(words)})\b.{{0,48}}$"


_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_MONTHS = r"(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_YEAR = r"(?:19|20)\d\d"

KINDS: tuple[Kind, ...] = (
    Kind("email", r"[\pL\pN._%+\-]{1,64}@(?:[\pL\pN](?:[\pL\pN\-]{0,62})\.)+\pL{2,24}", _always),
    Kind("iban", r"(?i)\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b", _if(iban.is_valid)),
    Kind("card", r"\b(?:\d[ \-]?){11,18}\d\b", _card),
    Kind("wallet", r"\b(?:[13][1-9A-HJ-NP-Za-km-z]{25,34}|(?:bc1|BC1)[0-9A-Za-z]{11,71})\b", _if(bitcoin.is_valid)),
    Kind("wallet", r"\b0x[0-9a-fA-F]{40}\b", _always),
    # ids of people, by country; those whose form alone says little need a word before them
    Kind("us_ssn", r"\b\d{3}-\d{2}-\d{4}\b", _if(ssn.is_valid)),
    Kind("us_ssn", r"\b\d{3} ?\d{2} ?\d{4}\b", _near_if(ssn.is_valid), _words("ssn", "social security.{0,12}")),
    Kind("it_codice_fiscale", r"\b[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z]\b", _if(codicefiscale.is_valid)),
    Kind("es_dni", r"\b\d{8}-?[A-HJ-NP-TV-Z]\b", _if(dni.is_valid)),
    Kind("es_nie", r"\b[XYZ]-?\d{7}-?[A-HJ-NP-TV-Z]\b", _if(nie.is_valid)),
    Kind("fi_hetu", r"\b\d{6}[+\-A-F]\d{3}[0-9A-FHJ-NPR-Y]\b", _if(hetu.is_valid)),
    Kind("mx_curp", r"\b[A-Z]{4}\d{6}[HMX][A-Z]{5}[A-Z0-9]\d\b", _if(curp.is_valid)),
    Kind("ch_ahv", r"\b756\.\d{4}\.\d{4}\.\d{2}\b", _if(ahv.is_valid)),
    Kind("br_cpf", r"\b\d{3}\.\d{3}\.\d{3}-\d{2}\b", _if(cpf.is_valid)),
    Kind("be_nn", r"\b\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}\b", _if(nn.is_valid)),
    Kind("kr_rrn", r"\b\d{6}-\d{7}\b", _if(rrn.is_valid)),
    Kind("se_personnummer", r"\b(?:\d{2})?\d{6}[\-+]\d{4}\b", _if(personnummer.is_valid)),
    Kind("cn_ric", r"\b\d{17}[\dXx]\b", _if(ric.is_valid)),
    Kind("fr_nir", r"\b[12] ?\d{2} ?\d{2} ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}\b", _if(nir.is_valid)),
    Kind("cl_rut", r"\b\d{1,2}\.\d{3}\.\d{3}-[\dkK]\b", _if(rut.is_valid)),
    Kind("in_pan", r"\b[A-Z]{3}[ABCFGHLJPT][A-Z]\d{4}[A-Z]\b", _if(pan.is_valid)),
    Kind("in_aadhaar", r"\b[2-9]\d{3}[ \-]\d{4}[ \-]\d{4}\b", _if(aadhaar.is_valid)),
    Kind("in_aadhaar", r"\b[2-9]\d{11}\b", _near_if(aadhaar.is_valid), _words("aadhaar", "aadhar", "uidai?")),
    Kind("gb_nino", r"\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b", _always),
    Kind("gb_nhs", r"\b\d{3}[ \-]?\d{3}[ \-]?\d{4}\b", _near_if(nhs.is_valid), _words("nhs")),
    Kind("ie_pps", r"\b\d{7}[A-W][A-IW]?\b", _near_if(pps.is_valid), _words("ppsn?")),
    Kind(
        "de_idnr", r"\b\d{2} ?\d{3} ?\d{3} ?\d{3}\b", _near_if(idnr.is_valid),
        _words("steuer.{0,24}", "idnr", "tin", "tax.{0,12}"),
    ),
    Kind("pl_pesel", r"\b\d{11}\b", _near_if(pesel.is_valid), _words("pesel")),
    Kind("nl_bsn", r"\b\d{9}\b", _near_if(bsn.is_valid), _words("bsn", "burgerservicenummer", "sofi.{0,8}")),
    Kind(
        "no_fnr", r"\b\d{6} ?\d{5}\b", _near_if(fodselsnummer.is_valid),
        _words("f.{1,2}dselsnummer", "fnr", "personnummer"),
    ),
    Kind("dk_cpr", r"\b\d{6}-?\d{4}\b", _near_if(cpr.is_valid), _words("cpr.{0,12}")),
    Kind("pt_nif", r"\b\d{9}\b", _near_if(nif.is_valid), _words("nif", "contribuinte", "fiscal")),
    Kind("au_tfn", r"\b\d{3} ?\d{3} ?\d{3}\b", _near_if(tfn.is_valid), _words("tfn", "tax file.{0,12}")),
    Kind(
        "ca_sin", r"\b\d{3}[ \-]?\d{3}[ \-]?\d{3}\b", _near_if(sin.is_valid),
        _words("sin", "social insurance.{0,12}"),
    ),
    Kind("tr_kimlik", r"\b[1-9]\d{10}\b", _near_if(tckimlik.is_valid), _words("t\\.?c\\.?", "kimlik.{0,12}")),
    Kind("za_id", r"\b\d{13}\b", _near_if(za_id.is_valid), _words("id", "identity.{0,12}")),
    Kind(
        "birth_date",
        rf"\b(?:{_DAY}[-./ ](?:{_DAY}|{_MONTHS})[-./ ]{_YEAR}|{_YEAR}[-./]{_DAY}[-./]{_DAY}"
        rf"|{_MONTHS} {_DAY}(?:st|nd|rd|th)?,? {_YEAR}|{_DAY}[-./]{_DAY}[-./]\d\d)\b",
        _near,
        _words("born", "birth", "birthday", "birthdate", "d\\.?o\\.?b\\.?", "geboren", "n[ée]e? le", "nacid[oa]"),
    ),
    Kind(
        "ip", r"\b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)\b", _ipv4,
        _words("version", "v", "release", "section", "build"),
    ),
    Kind("ip", r"(?:[0-9A-Fa-f]{0,4}:){3,7}[0-9A-Fa-f]{0,4}", _ipv6),
    Kind(
        "phone", r"(?:\+|\b00|\(|\b)\d(?:[\d\-./() ]{5,22})\d(?: ?(?:x|ext\.?) ?\d{1,6})?\b", _phone,
        _words(
            "phones?", "call", "calls", "tel", "telephone", "mobile", "cell", "fax", "contact", "reach", "whatsapp",
            "dial", "sms", "messages? to", "answer(?:s|ing)?", "text me", "telefon", "handy", "m[oó]vil", "tel[ée]fono",
        ),
    ),
)  # fmt: skip
