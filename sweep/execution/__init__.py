"""What trains packs."""
