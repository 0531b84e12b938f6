"""What volumes take and datastores hold: collected, kept on the front-end, and told to OpenNebula."""
