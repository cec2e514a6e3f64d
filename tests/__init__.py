"""The tests: a folder for each room of the house, journeys, faults, and peers."""
