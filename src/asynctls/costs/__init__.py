"""What a run costs on the wire and in the processor, and its pictures."""
