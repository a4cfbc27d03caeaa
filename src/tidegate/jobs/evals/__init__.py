"""How good are the answers? Suites of cases, the scorers of their answers, and judges that are tested themselves."""
