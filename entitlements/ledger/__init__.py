"""What happened: the append-only log of each customer, and the state it folds to."""
