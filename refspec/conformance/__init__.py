"""The kit that tests other people's engines: their own code, its draws answered along every branch, and what law that gives.

`adapter.py` is what an engine implements, `answered.py` the generators that branch instead of drawing, `checks.py` the cases and
what each finds, `own.py` refspec as one more engine.
"""
