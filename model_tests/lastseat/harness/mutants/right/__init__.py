"""More right ones, as real projects write them; each module holds one way of keeping a promise."""
