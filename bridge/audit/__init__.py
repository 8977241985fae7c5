"""What would hurt: findings about the devices of ports, with the command that helps."""
