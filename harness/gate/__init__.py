"""Two checkouts of this project under one campaign: the measuring side of the gate."""
