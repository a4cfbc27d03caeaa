"""How is the same said in fewer tokens? Before a request goes out, where its route wants that.

Two levels, both pure functions of texts. Level 0 loses nothing: JSON without blanks or as tables (`tables`), and what
was said before by reference (`repeats`). Level 1 leaves sentences out that a question does not ask for (`selection`).
"""
