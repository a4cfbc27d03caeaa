from __future__ import annotations

import pytest

from tests.jobs.evals.scorers.looking import look
from tidegate.jobs.evals.scorers.language import Config, Language, language_of

TEXTS = {
    "en": "You can ask for a refund within 14 days, and we will send the money to your card.",
    "de": "Sie können innerhalb von 14 Tagen eine Erstattung verlangen, und wir überweisen das Geld auf Ihre Karte.",
    "fr": "Vous pouvez demander un remboursement dans les 14 jours et nous vous verserons la somme sur votre carte.",
    "es": "Usted puede pedir un reembolso en los 14 días y le devolvemos el dinero a su tarjeta.",
    "it": "Può chiedere il rimborso entro 14 giorni e il denaro le sarà accreditato sulla carta che ha usato.",
    "pt": "Você pode pedir o reembolso em até 14 dias, e o dinheiro não demora para voltar ao seu cartão.",
    "nl": "U kunt binnen 14 dagen om een terugbetaling vragen en wij storten het geld op uw kaart.",
    "sv": "Du kan begära återbetalning inom 14 dagar och vi skickar pengarna till ditt kort som du har betalat med.",
    "da": "Du kan bede om dine penge tilbage inden for 14 dage, og vi sender dem til dit kort, som du har betalt med.",
    "pl": "Możesz poprosić o zwrot w ciągu 14 dni, a my prześlemy pieniądze na kartę, którą zapłacono.",
    "tr": "14 gün içinde iade isteyebilirsiniz ve parayı kartınıza göndeririz, bu kadar çok beklemek gerekmez.",
    "id": "Anda dapat meminta pengembalian dana dalam 14 hari, dan uang itu akan dikirim ke kartu yang dipakai.",
    "ru": "Вы можете запросить возврат в течение 14 дней, и мы переведём деньги на вашу карту.",
    "uk": "Ви можете попросити повернення протягом 14 днів, і ми надішлемо гроші на вашу картку, її номер відомий.",
    "ja": "14日以内に返金を申請できます。カードに返金します。",
    "zh": "您可以在14天内申请退款，我们会把钱退到您的卡上。",
    "ko": "14일 이내에 환불을 요청하실 수 있습니다.",
    "ar": "يمكنك طلب استرداد الأموال خلال 14 يومًا.",
    "he": "אפשר לבקש החזר כספי תוך 14 ימים.",
    "el": "Μπορείτε να ζητήσετε επιστροφή χρημάτων εντός 14 ημερών.",
    "hi": "आप 14 दिनों के भीतर धनवापसी का अनुरोध कर सकते हैं।",
    "th": "คุณสามารถขอเงินคืนได้ภายใน 14 วัน",
}


@pytest.mark.parametrize("language", TEXTS)
async def test_each_is_told_from_the_others(language: str):
    assert language_of(TEXTS[language]) == language
    assert (await look(Language(Config(language)), TEXTS[language])).passed is True
    other = "de" if language != "de" else "en"
    assert (await look(Language(Config(other)), TEXTS[language])).passed is False


@pytest.mark.parametrize("text", ["", "14", "ok", "…"])
async def test_what_says_too_little_has_no_score(text: str):
    score = await look(Language(Config("en")), text)
    assert (score.outcome, score.value) == ("failed", None)


def test_a_language_that_nobody_knows_here_is_told():
    with pytest.raises(ValueError, match="'klingon' is none that is known here"):
        Language(Config("klingon"))
