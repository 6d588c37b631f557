"""Keys, passwords, card numbers and e-mail addresses in the text. Only the kind of a find is ever shown."""

import re
from functools import partial
from typing import NamedTuple

WORD = "[removed]"
ADDRESS = "name@example.com"


class Form(NamedTuple):
    """A form that only secrets have. `anchor` stands in every one: most texts are known free by it alone."""

    kind: str
    anchor: str
    pattern: re.Pattern[str]


# forms as their issuers and the rules of the scanners gitleaks and detect-secrets give them
FORMS = (
    Form("an AWS access key", "AKIA", re.compile(r"\bAKIA[0-9A-Z]{16}\b")),
    Form("an AWS access key", "ASIA", re.compile(r"\bASIA[0-9A-Z]{16}\b")),
    Form("a GitHub token", "gh", re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36,255}\b")),
    Form("a GitHub token", "github_pat_", re.compile(r"\bgithub_pat_[A-Za-z0-9_]{22,255}\b")),
    Form("a GitLab token", "glpat-", re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}")),
    Form("a Hugging Face token", "hf_", re.compile(r"\bhf_[A-Za-z0-9]{30,}\b")),
    Form("an OpenAI or Anthropic key", "sk-", re.compile(r"\bsk-(?:[a-z]+\d*-){0,2}[A-Za-z0-9_-]{32,}")),
    Form("a Stripe key", "k_live_", re.compile(r"\b[sr]k_live_[A-Za-z0-9]{16,}")),
    Form("a Slack token", "xox", re.compile(r"\bxox[abeprs]-[A-Za-z0-9-]{20,}")),
    Form("a Google key", "AIza", re.compile(r"\bAIza[A-Za-z0-9_-]{35}")),
    Form("an npm token", "npm_", re.compile(r"\bnpm_[A-Za-z0-9]{36}\b")),
    Form("a PyPI token", "pypi-", re.compile(r"\bpypi-[A-Za-z0-9_-]{50,}")),
    Form("a signed token (JWT)", "eyJ", re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,}")),
    Form(
        "a private key",
        "-----BEGIN",
        re.compile(
            r"-----BEGIN (?:[A-Z]+ ){0,2}PRIVATE KEY(?: BLOCK)?-----\s+[A-Za-z0-9+/=\s:,-]{40,}?"
            r"(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)"
        ),
    ),
    Form(
        "a password in a web address",
        "://",
        re.compile(r"(?<=://)[^\s/:@\"'<>]{1,64}:[^\s/:@\"'<>]{3,200}(?=@[\w.-])"),
    ),
)
ANCHORS = re.compile(
    r"_(?:(?<=gh[pousr]_)|(?<=hf_)|(?<=npm_)|(?<=github_)pat_|(?<=[sr]k_)live_)"
    r"|-(?:(?<=sk-)|(?<=xox[abeprs]-)|(?<=glpat-)|(?<=pypi-)|----BEGIN)|A(?:KIA|SIA|Iza)|J(?<=eyJ)|://"
)
"""One of them stands in every text that holds any of FORMS; each begins with what is rare in a text, so that
a text without any is soon known."""
SAMPLE = re.compile(
    r"example|sample|dummy|your|pass|secret|changeme|x{3}|\*{3}|\$|\{|<|\[|%s|1234", re.IGNORECASE
)
"""What stands in examples instead of a secret."""
FEW_LETTERS = 8
"""A key of fewer different characters was typed by hand, such as sk-xxxx."""

# what must not stand before comes after the first digit: digits are found far quicker than places before them
DIGITS = re.compile(r"[3-6](?<![\d.,/_-][3-6])\d{3}(?:[ -]?\d{4,6}){2}(?:[ -]?\d{1,7})?(?![\d.,/_-]*\d)")
NO_DIGITS = bytes(byte for byte in range(256) if not 48 <= byte <= 57)
BRANDS = re.compile(r"4\d{15}|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|6(?:011|5\d\d)\d{12}")
EMAIL = re.compile(r"(?<![\w.%+/:-])[A-Za-z0-9][\w.%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}\b")
NOBODY = re.compile(
    r"^git@|@(?:[\w.-]+\.)?example\.\w+$|\.(?:example|test|invalid|localhost|png|jpe?g|gif|svg|webp|css|js)$",
    re.IGNORECASE,
)
"""Names set apart for examples (RFC 2606), logins of git, and pictures such as logo@2x.png."""


def find_secret(text: str) -> str | None:
    for form in FORMS if ANCHORS.search(text) else ():
        if form.anchor in text and any(_real(form, found) for found in form.pattern.finditer(text)):
            return form.kind
    return (
        "the number of a credit card"
        if _has_digits(text) and any(map(_card, DIGITS.finditer(text)))
        else None
    )


def _has_digits(text: str) -> bool:
    """Whether there are enough for a card's number: much quicker to know than where."""
    return len(text.encode(errors="replace").translate(None, NO_DIGITS)) >= 13


def mend_secret(text: str) -> str:
    for form in FORMS:
        if form.anchor in text:
            text = form.pattern.sub(partial(_removed, form), text)
    return DIGITS.sub(lambda found: WORD if _card(found) else found.group(), text)


def _removed(form: Form, found: re.Match[str]) -> str:
    if not _real(form, found):
        return found.group()
    return f"{found.group().partition(':')[0]}:{WORD}" if form.anchor == "://" else WORD


def _real(form: Form, found: re.Match[str]) -> bool:
    said = found.group()
    if form.anchor == "://":
        said = said.partition(":")[2]
        return not SAMPLE.search(said)
    return form.anchor == "-----BEGIN" or (len(set(said)) >= FEW_LETTERS and not SAMPLE.search(said))


def _card(found: re.Match[str]) -> bool:
    """Whether its check digit is right (Luhn, ISO/IEC 7812) and its first digits are of a known issuer."""
    digits = [int(letter) for letter in found.group() if letter.isdigit()]
    if not BRANDS.fullmatch("".join(map(str, digits))) or len(set(digits)) < 4:
        return False
    doubled = [2 * digit - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def find_email(text: str) -> str | None:
    if "@" not in text:
        return None
    return "an e-mail address" if any(not NOBODY.search(one) for one in EMAIL.findall(text)) else None


def mend_email(text: str) -> str:
    return EMAIL.sub(lambda found: found.group() if NOBODY.search(found.group()) else ADDRESS, text)
