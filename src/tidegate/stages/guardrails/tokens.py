"""What do keys and tokens of vendors look like? Patterns for RE2, from what vendors document of their own formats.

`named`: the form says too little, so a word such as key, token or password must stand before it.
"""

from __future__ import annotations

from typing import NamedTuple


class Form(NamedTuple):
    name: str
    pattern: str
    entropy: float = 3.0  # bits per character, at least; 0: whatever it is
    stand_ins: bool = True  # what is written in its place in documentation does not count
    named: bool = False
    alone: bool = False  # nothing need stand before it, so it must look drawn by lot all through


_B = r"[A-Za-z0-9_\-]"
_C = r"[A-Za-z0-9_=\-]"

FORMS: tuple[Form, ...] = (
    Form("anthropic", rf"\bsk-ant-(?:api|admin)\d\d-{_B}{{80,120}}"),
    Form("openai", rf"\bsk-(?:(?:proj|svcacct|admin|None)-)?{_B}{{16,90}}T3BlbkFJ{_B}{{16,90}}"),
    Form("openai", rf"\bsk-(?:proj|svcacct|admin|or-v1)-{_B}{{32,200}}"),
    Form("openai", r"\bsk-[A-Za-z0-9]{32,64}\b"),
    Form("tidegate", r"\btg_[a-z]+_[A-Za-z0-9]{6,}_?[A-Za-z0-9_\-]{16,}"),
    Form("aws", r"\b(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    Form("aws_bedrock", r"\bABSK[A-Za-z0-9+/]{80,300}={0,2}"),
    Form("aws_bedrock", r"\bbedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29t[A-Za-z0-9+/=]*", 0),
    Form("google", r"\bAIza[\w\-]{35}"),
    Form("google_oauth", r"\bGOCSPX-[\w\-]{20,40}"),
    Form("google_oauth", r"\bya29\.[\w\-]{20,300}"),
    Form("github", r"\bgh[pousr]_[A-Za-z0-9]{36,255}\b"),
    Form("github", r"\bgithub_pat_\w{60,255}\b"),
    Form("gitlab", r"\bgl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat|ffct|wt|rtr)-[\w\-.=]{16,80}"),
    Form("gitlab", r"\bGR1348941[\w\-]{20}\b"),
    Form("gitlab", r"_gitlab_session=([0-9a-z]{32})", 3, True),
    Form("slack", r"\bxox[abprseo](?:\.xox[a-z])?-[0-9A-Za-z\-]{10,250}", 2.8),
    Form("slack", r"(?i)\bxapp-\d-[A-Z0-9]+-\d+-[a-z0-9]+"),
    Form("slack_webhook", r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{40,60}"),
    Form("teams_webhook", r"\.webhook\.office\.com/webhookb2/[\w@\-]{30,}/IncomingWebhook/[\w\-/]{30,}"),
    Form("stripe", r"\b(?:sk|rk)_(?:test|live|prod)_[A-Za-z0-9]{10,99}\b", 2.5),
    Form("square", r"\bsq0(?:atp|csp|idp)-[\w\-\\]{22,60}"),
    Form("square", r"\bEAAA[\w\-+=\pL]{22,64}"),
    Form("facebook", r"\bEAA[MC][A-Za-z0-9]{90,300}\b"),
    Form("shopify", r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}\b"),
    Form("twilio", r"\bSK[0-9a-fA-F]{32}\b"),
    Form("sendgrid", r"\bSG\.[\w=\-.]{60,70}"),
    Form("sendinblue", r"\bxkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}\b"),
    Form("mailgun", r"\b(?:pub)?key-[a-f0-9]{32}\b"),
    Form("mailchimp", r"\b[a-f0-9]{32}-us\d\d?\b"),
    Form("npm", r"\bnpm_[A-Za-z0-9]{36}\b"),
    Form("pypi", r"\bpypi-AgEIcHlwaS5vcmc[\w\-]{50,1000}"),
    Form("rubygems", r"\brubygems_[a-f0-9]{48}\b"),
    Form("hugging_face", r"\b(?:hf_|api_org_)[A-Za-z]{34}\b"),
    Form("replicate", r"\br8_[A-Za-z0-9]{37}\b"),
    Form("groq", r"\bgsk_[A-Za-z0-9]{40,60}\b"),
    Form("perplexity", r"\bpplx-[A-Za-z0-9]{40,60}\b"),
    Form("xai", r"\bxai-[A-Za-z0-9]{60,90}\b"),
    Form("databricks", r"\bdapi[a-f0-9]{32}(?:-\d)?\b"),
    Form("digitalocean", r"\bdo[opr]_v1_[a-f0-9]{64}\b"),
    Form("doppler", r"\bdp\.(?:pt|st|ct|sa)\.(?:[a-z0-9\-_]{2,35}\.)?[A-Za-z0-9]{40,44}\b"),
    Form("dynatrace", r"(?i)\bdt0[a-z]\d\d\.[a-z0-9]{24}\.[a-z0-9]{64}\b"),
    Form("duffel", rf"\bduffel_(?:test|live)_{_C}{{43}}"),
    Form("easypost", r"\bEZ[AT]K[A-Za-z0-9]{54}\b", 2),
    Form("flutterwave", r"\bFLW(?:PUB|SEC)K_TEST-[a-h0-9]{12,32}(?:-X)?\b", 2),
    Form("fly", r"\bf(?:m1[ar]|m2|o1)_[\w+/=\-]{40,}"),
    Form("frameio", rf"\bfio-u-{_C}{{64}}"),
    Form("grafana", r"\beyJrIjoi[A-Za-z0-9+/]{60,400}={0,3}"),
    Form("grafana", r"\bgl(?:c|sa)_[A-Za-z0-9+/_]{32,400}={0,3}"),
    Form("harness", r"\b[ps]at\.[\w\-]{22}\.[0-9a-zA-Z]{24}\.[0-9a-zA-Z]{20}\b"),
    Form("hashicorp", r"\b[A-Za-z0-9]{14}\.(?:atlasv1|tfe)\.[\w\-=]{60,70}"),
    Form("heroku", r"\bHRKU-AA[\w\-]{58}"),
    Form("infracost", r"\bico-[A-Za-z0-9]{32}\b"),
    Form("intra42", r"\bs-s4t2(?:ud|af)-[a-f0-9]{64}\b"),
    Form("artifactory", r"\bAKCp[A-Za-z0-9]{69}\b"),
    Form("artifactory", r"\bcmVmdGtu[A-Za-z0-9]{56}\b|\bcmVmd[A-Za-z0-9]{59}\b"),
    Form("linear", r"\blin_api_[A-Za-z0-9]{40}\b"),
    Form("new_relic", r"\bNR(?:AK|II|JS|RA)-[A-Za-z0-9\-]{19,40}\b"),
    Form("notion", r"\b(?:ntn_\d{11}[A-Za-z0-9]{35}|secret_[A-Za-z0-9]{43})\b"),
    Form("octopus", r"\bAPI-[A-Z0-9]{26}\b"),
    Form("openshift", r"\bsha256~[\w\-\pL]{20,60}"),
    Form("planetscale", r"\bpscale_(?:tkn|oauth|pw)_[\w=\-.]{32,64}"),
    Form("postman", r"\bPMAK-[a-fA-F0-9]{24}-[a-fA-F0-9]{34}\b"),
    Form("prefect", r"\bpnu_[A-Za-z0-9]{36}\b"),
    Form("pulumi", r"\bpul-[a-f0-9]{40}\b"),
    Form("readme", r"\brdme_[a-z0-9]{70}\b"),
    Form("scalingo", r"\btk-us-[\w\-]{48}"),
    Form("sentry", r"\bsntry[su]_[A-Za-z0-9+/=_]{40,400}"),
    Form("settlemint", r"\bsm_[aps]at_[A-Za-z0-9]{16}\b"),
    Form("shippo", r"\bshippo_(?:live|test)_[a-fA-F0-9]{40}\b"),
    Form("sourcegraph", r"\bsgp_(?:[a-fA-F0-9]{16}_|local_)?[a-fA-F0-9]{40}\b"),
    Form("typeform", r"\btfp_[\w\-.=]{40,64}"),
    Form("vault", r"\bhv[sb]\.[\w\-\pL]{60,300}|\bs\.[A-Za-z0-9]{24}\b", 3.5),
    Form("onepassword", r"\bA3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}\b"),
    Form("onepassword", r"\bops_eyJ[A-Za-z0-9+/]{200,}={0,3}"),
    Form("adobe", r"\bp8e-[a-f0-9]{32}\b"),
    Form("age", r"\bAGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}\b", 0, False),
    Form("airtable", r"\bpat[A-Za-z0-9]{14}\.[a-f0-9]{64}\b"),
    Form("alibaba", r"\bLTAI[A-Za-z0-9]{20}\b"),
    Form("clickhouse", r"\b4b1d[A-Za-z0-9]{38}\b"),
    Form("clojars", r"\bCLOJARS_[a-z0-9]{60}\b"),
    Form("cloudflare", r"\bv1\.0-[a-f0-9]{24}-[a-f0-9]{146}\b"),
    Form("defined_networking", rf"\bdnkey-{_C}{{26}}-{_C}{{52}}"),
    Form("azure", r"[\w~.]{3}\dQ~[\w~.\-]{31,34}"),
    Form("yandex", r"\bt1\.[A-Z0-9a-z_\-]+=*\.[A-Z0-9a-z_\-]{86}=*|\bAQVN[\w\-]{35,38}\b|\bYC[\w\-]{38}\b"),
    Form("maxmind", r"\b[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk\b"),
    Form("mapbox", r"\b[ps]k\.[A-Za-z0-9]{60}\.[A-Za-z0-9]{22}\b"),
    Form("twitter", r"\bA{22}[A-Za-z0-9%]{80,100}", 3, False),
    Form("telegram", r"\b\d{8,10}:AA[\w\-]{33}\b"),
    Form("discord", r"\b[MNO][\w\-]{23,27}\.[\w\-]{6}\.[\w\-]{27,40}"),
    Form("facebook", r"\b\d{15,16}(?:\||%)[0-9A-Za-z\-_]{27,40}\b"),
    Form("jwt", r"\bey[A-Za-z0-9]{17,}\.ey[A-Za-z0-9/\\_\-]{17,}\.[A-Za-z0-9/\\_\-]{10,}={0,2}"),
    Form("address_with_password", r"\b[a-z][a-z0-9+.\-]{1,20}://[^\s/:@$]{1,64}:([^\s/@$]{4,128})@[\w.\-]+", 2.0),
    # what has no form of its own; nothing is counted to a most here, for that makes states that no two texts share
    Form("named", r"[\w.\-\])]{2}(?:=>?|:{1,3}=?)([A-Za-z0-9_][\w+/=.~!\-%$@\pL\\]{9,})", 3.0, True, True),
    Form("named", r"([A-Za-z0-9][\w+/=.~!\-:%$@\pL\\]{9,})", 3.0, True, True),
    Form(
        "drawn_by_lot",
        r"(?:^|[^\w/.\-+=%#&?])([A-Za-z0-9][A-Za-z0-9_\-]{15,})(?:$|[^\w/\-+=%])",
        3.4,
        True,
        False,
        True,
    ),
)
