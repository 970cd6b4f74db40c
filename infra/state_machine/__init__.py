"""The pipeline as a Step Functions state machine."""
