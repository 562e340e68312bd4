"""Training in several processes: who takes part, what they agree on, and who watches whom."""
