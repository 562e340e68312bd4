"""What a face does, as named and timed events: blinks, smiles, nods and others, by rules.

Each rule reads one number of a face (how far the eyes are open, a coefficient of facial movement,
an angle of the head) and says when it began and when it was over. All lengths are in seconds of
frame time, so that a film at 60 frames a second, one at 5 and one with a varying rate give the same
events, as far as its frames show them. docs/events.md has the rules with their sources.

An event is what was seen of a face. It says nothing about attention, fatigue or truthfulness.
"""

from edge.stages.events.detector import EventDetector

__all__ = ["EventDetector"]
