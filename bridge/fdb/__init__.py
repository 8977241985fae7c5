"""Who is where: the policy of MAC learning."""
