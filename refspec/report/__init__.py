"""What a person sees: colours, figures, JSON, the table of rounds, the demo."""
