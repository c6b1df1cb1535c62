"""Time budgets: what fits into one, for this data on this machine, and the reasons.

The rules have few constants; where they come from is told in docs/decisions/0007-time-budget.md.
"""
