"""What a pump says, on the hospital's broker: topics, messages, a spool on disk. It takes readings and cannot command."""
