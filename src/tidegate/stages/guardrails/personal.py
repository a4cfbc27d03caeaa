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
    """`alone`: what it looks like where nothing of its context stands before it: None, the same, "" nothing."""

    name: str
    pattern: str
    holds: Holds
    context: str = ""  # words, of which one must, or may, stand in the 64 characters before it
    alone: str | None = None


def _always(value: str, near: bool) -> bool:
    return True


def _if(check: Callable[[str], bool]) -> Holds:
    return lambda value, near: check(value)


def _after(name: str, pattern: str, check: Callable[[str], bool], *words: str) -> Kind:
    """Whose form says so little that one of `words` must stand before it."""
    return Kind(name, pattern, lambda value, near: near and check(value), "|".join(words), alone="")


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
    digits = sum(map(str.isdigit, value))
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


_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_MONTHS = r"(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_YEAR = r"(?:19|20)\d\d"

KINDS: tuple[Kind, ...] = (
    # Nothing is counted to a most: those counts cost 0.4 s where a long text was looked at for the first time.
    Kind("email", r"[\pL\pN._%+\-]+@(?:[\pL\pN][\pL\pN\-]*\.)+\pL{2,24}", _always, alone=r"\S@\S"),
    Kind("iban", r"(?i)\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b", _if(iban.is_valid)),
    Kind("card", r"\b(?:\d[ \-]?){11,18}\d\b", _card),
    Kind("wallet", r"\b(?:[13][1-9A-HJ-NP-Za-km-z]{25,34}|(?:bc1|BC1)[0-9A-Za-z]{11,71})\b", _if(bitcoin.is_valid)),
    Kind("wallet", r"\b0x[0-9a-fA-F]{40}\b", _always),
    # ids of people, by country; those whose form alone says little need a word before them
    Kind("us_ssn", r"\b\d{3}-\d{2}-\d{4}\b", _if(ssn.is_valid)),
    _after("us_ssn", r"\b\d{3} ?\d{2} ?\d{4}\b", ssn.is_valid, "ssn", "social security.{0,12}"),
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
    _after("in_aadhaar", r"\b[2-9]\d{11}\b", aadhaar.is_valid, "aadhaar", "aadhar", "uidai?"),
    Kind("gb_nino", r"\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b", _always),
    _after("gb_nhs", r"\b\d{3}[ \-]?\d{3}[ \-]?\d{4}\b", nhs.is_valid, "nhs"),
    _after("ie_pps", r"\b\d{7}[A-W][A-IW]?\b", pps.is_valid, "ppsn?"),
    _after("de_idnr", r"\b\d{2} ?\d{3} ?\d{3} ?\d{3}\b", idnr.is_valid, "steuer.{0,24}", "idnr", "tin", "tax.{0,12}"),
    _after("pl_pesel", r"\b\d{11}\b", pesel.is_valid, "pesel"),
    _after("nl_bsn", r"\b\d{9}\b", bsn.is_valid, "bsn", "burgerservicenummer", "sofi.{0,8}"),
    _after("no_fnr", r"\b\d{6} ?\d{5}\b", fodselsnummer.is_valid, "f.{1,2}dselsnummer", "fnr", "personnummer"),
    _after("dk_cpr", r"\b\d{6}-?\d{4}\b", cpr.is_valid, "cpr.{0,12}"),
    _after("pt_nif", r"\b\d{9}\b", nif.is_valid, "nif", "contribuinte", "fiscal"),
    _after("au_tfn", r"\b\d{3} ?\d{3} ?\d{3}\b", tfn.is_valid, "tfn", "tax file.{0,12}"),
    _after("ca_sin", r"\b\d{3}[ \-]?\d{3}[ \-]?\d{3}\b", sin.is_valid, "sin", "social insurance.{0,12}"),
    _after("tr_kimlik", r"\b[1-9]\d{10}\b", tckimlik.is_valid, "t\\.?c\\.?", "kimlik.{0,12}"),
    _after("za_id", r"\b\d{13}\b", za_id.is_valid, "id", "identity.{0,12}"),
    _after(
        "birth_date",
        rf"\b(?:{_DAY}[-./ ](?:{_DAY}|{_MONTHS})[-./ ]{_YEAR}|{_YEAR}[-./]{_DAY}[-./]{_DAY}"
        rf"|{_MONTHS} {_DAY}(?:st|nd|rd|th)?,? {_YEAR}|{_DAY}[-./]{_DAY}[-./]\d\d)\b",
        lambda value: True,
        "born", "birth", "birthday", "birthdate", "d\\.?o\\.?b\\.?", "geboren", "n[ée]e? le", "nacid[oa]",
    ),
    Kind(
        "ip", r"\b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)\b", _ipv4,
        "version|v|release|section|build",
    ),
    Kind("ip", r"(?:[0-9A-Fa-f]{0,4}:){3,7}[0-9A-Fa-f]{0,4}", _ipv6),
    Kind(
        "phone", r"(?:\+|\b00|\(|\b)\d(?:[\d\-./() ]{5,22})\d(?: ?(?:x|ext\.?) ?\d{1,6})?\b", _phone,
        "phones?|call|calls|tel|telephone|mobile|cell|fax|contact|reach|whatsapp|dial|sms|messages? to|answer(?:s|ing)?"
        "|text me|telefon|handy|m[oó]vil|tel[ée]fono",
        # abroad, or in groups as in the United States
        alone=r"(?:\+|\b00)\d[\d\-./() ]{5,22}\d|(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}",
    ),
)  # fmt: skip
