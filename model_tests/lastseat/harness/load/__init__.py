"""Clients that run freely, as fast as they can, while the server fails around them.

Reads in this order: `demand` is what they ask for, `recorder` writes the history as it goes, `load`
keeps the clients busy, `trial` lets outages strike meanwhile, and judges what was recorded.
"""
