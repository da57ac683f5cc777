"""Where our packages come from: their hashes (lock.py) and their licences (licences.py)."""
