"""Does this text refuse? By what models say when they do, in a few languages, at its beginning."""

from __future__ import annotations

import re2

LOOKED_AT = 400  # characters: who refuses says so first
PHRASES = (
    r"\bi(?:'|’)?m (?:very |so |really )?(?:sorry|afraid)\b.{0,40}"
    r"\b(?:can(?:'|’)?t|cannot|unable|not able|won(?:'|’)?t)",
    r"\bi (?:can(?:'|’)?t|cannot|can not|won(?:'|’)?t|will not|am not able to|am unable to|must decline|decline to)\b"
    r".{0,30}\b(?:help|assist|provide|comply|do that|answer|discuss|share|create|write|support|fulfil|judge|grade|rate|"
    r"evaluate|score|engage|continue)",
    r"\bi(?:'|’)?m (?:not able|unable) to (?:help|assist|provide|comply|answer|discuss|share|judge|grade|evaluate)",
    r"\b(?:against|violates?) (?:my|our|the) (?:guidelines|polic(?:y|ies)|principles)",
    r"\bich kann (?:dabei|ihnen dabei|dir dabei|das|diese[rsn]? \w+|hier)? ?"
    r"(?:leider )?nicht (?:helfen|weiterhelfen|beantworten|bewerten)",
    r"\bes tut mir leid\b.{0,40}\bnicht\b",
    r"\bje (?:suis désolée?|regrette)\b.{0,40}\b(?:ne|impossible)\b",
    r"\bje ne peux pas\b.{0,30}\b(?:aider|répondre|fournir|évaluer)",
    r"\bno puedo\b.{0,30}\b(?:ayudar|responder|proporcionar|evaluar)",
    r"\blo siento\b.{0,40}\bno\b",
    r"\bnon posso\b.{0,30}\b(?:aiutar|rispondere|fornire|valutare)",
    r"\b(?:não posso|desculpe)\b.{0,40}\b(?:ajudar|não|responder)",
    r"申し訳(?:ありません|ございません)|お答えできません|お手伝いできません",
    r"(?:抱歉|对不起|很遗憾).{0,20}(?:无法|不能)|我(?:无法|不能)(?:提供|帮助|回答|协助)",
    r"죄송(?:합니다|하지만).{0,40}(?:수 없|어렵)",
)
_SAID = re2.compile("(?is)" + "|".join(PHRASES))


def refuses(text: str) -> bool:
    start = text.strip()[:LOOKED_AT].encode("utf-8", "replace").decode()
    return _SAID.search(start) is not None
