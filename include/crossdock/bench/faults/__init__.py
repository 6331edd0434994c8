"""The table of faults: `./hub bench faults`. Each part of a real stack is killed, frozen or filled under load."""
