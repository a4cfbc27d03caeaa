"""Which sentences does a question ask for?"""

from __future__ import annotations

from tidegate.upstream.shrink.ranking import ranked

TIDES = [
    "The gate opens at six.",
    "Its keeper is Ann Moor.",
    "The harbour was built in 1880.",
    "Gulls are noisy birds.",
]


def best(question: str, sentences: list[str] = TIDES) -> str:
    scores = ranked(question, sentences, list(range(len(sentences)))).scores
    return sentences[scores.index(max(scores))]


def test_the_sentence_with_the_words_of_the_question_is_best() -> None:
    assert best("When does the gate open?") == TIDES[0]
    assert best("What do gulls sound like?") == TIDES[3]


def test_a_word_that_is_misspelt_is_found_all_the_same() -> None:
    assert best("Who built the harbuor?") == TIDES[2]


def test_a_sentence_with_a_number_is_preferred_where_one_is_asked_for() -> None:
    assert best("When do gulls breed?", ["Gulls breed out here.", "Gulls breed May 1."]) == "Gulls breed May 1."


def test_a_name_counts_as_it_is_written() -> None:
    assert best("Who met Ann Moor?", ["Moor and Ann met.", "He met Ann Moor."]) == "He met Ann Moor."


def test_sentences_of_the_same_paragraph_and_beside_it_gain() -> None:
    texts = ["The gate opens at six.", "Then it closes.", "Nobody knows why.", "It rained."]
    scores = ranked("When does the gate open?", texts, [0, 0, 0, 1]).scores
    assert scores[0] > scores[1] > scores[2] > scores[3] == 0


def test_how_much_of_a_question_is_found_is_told() -> None:
    assert ranked("When does the gate open?", TIDES, [0, 1, 2, 3]).found > 0.9
    assert ranked("Which submarine sank?", TIDES, [0, 1, 2, 3]).found == 0
    assert ranked("", TIDES, [0, 1, 2, 3]).found == 0
    assert ranked("gate", [], []).scores == []
