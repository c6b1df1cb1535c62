"""Time budgets: which training fits into one, for this data on this machine, and why.

The rules have few constants. docs/decisions/0007-time-budget.md says where they come from.
"""
