"""The measurements of the gate: two checkouts of this project run the same campaign."""
