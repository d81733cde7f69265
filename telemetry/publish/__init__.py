"""What a pump says, on the hospital's broker: topics, messages, a spool. It takes readings and cannot command."""
