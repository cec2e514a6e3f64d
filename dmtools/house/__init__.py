"""The house's outside: what a machine must have, how `.venv` is made, how the tests are run. Standard library only."""
