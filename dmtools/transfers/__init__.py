"""The transfer engine that migrate, daq and lta share: plan -> submit to FTS3 -> poll in bulk -> verify."""
