"""What nodes draw for people: curves, and storyboards as contact sheets."""
