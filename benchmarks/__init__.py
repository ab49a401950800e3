"""Speed against floors: every figure is a ratio to plain Python measured in the same run."""
