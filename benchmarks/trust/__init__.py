"""Whether trainings and readers survive what they should never meet: kills, full disks, strange files."""
