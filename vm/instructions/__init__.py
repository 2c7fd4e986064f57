"""What every opcode does, one plain function each, grouped by family; vm.opcodes puts them in a table."""
