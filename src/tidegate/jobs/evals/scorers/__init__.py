"""Who looks at an answer? One file for each kind of look, written as a user's would be."""
