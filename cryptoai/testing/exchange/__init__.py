"""A local exchange that the unmodified ccxt and ccxt.pro clients trade against; `server.served` starts one."""
