"""The simulators are in `simulators`; these commands are kept."""
