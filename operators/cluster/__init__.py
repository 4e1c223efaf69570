"""Calls to the API server and to pods, and the election of one leader. It decides nothing about bots."""
