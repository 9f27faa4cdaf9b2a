"""The truth table: what a fault at each turn of an attempt leads to, and what the contract says."""
