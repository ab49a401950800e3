"""Web frameworks: who is asking, what a denial becomes, and what a front end reads. One module each."""
