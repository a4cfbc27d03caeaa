"""How hard is this question, and which of a route's models need be asked to answer it well enough?"""
