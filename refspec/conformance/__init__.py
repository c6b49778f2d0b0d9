"""The kit that tests other people's engines: their own code, its draws answered along every branch, and what law that gives.

`adapter.py` is what an engine implements, `cases.py` the checks and their cases, `checks.py` the exact level, `judges.py` what is
asked of a law, `expected.py` what it should be, `answered.py` and `taped.py` the generators that answer and replay, `own.py`
refspec as one more engine.
"""
