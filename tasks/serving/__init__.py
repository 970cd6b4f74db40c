"""Scoring live requests, reading exposures, proving and packing a service."""
