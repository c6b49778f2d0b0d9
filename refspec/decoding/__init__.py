"""What the papers describe: models as tables of chances, drafters, verification rules and the loop. Needs NumPy alone."""
