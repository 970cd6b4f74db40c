"""AWS on one machine, without an account: an emulator whose containers are processes, and what is shown on it."""
