"""The case study, replayed: what is a gateway worth to a support chatbot, and what does that rest on?

`workload` says what is asked, and what is right; `texts` has its words. `vendors` are two providers that answer it,
with books of their own; `levers` the configurations that are compared. `replay` asks, through a real `tidegate serve`
or without one; `machine` sees who else was at work meanwhile. `books` compares what everybody has written down;
`figures` says what it comes to, `goals` whether that is enough, `page` tells it, and `course` has all of that done.
"""
