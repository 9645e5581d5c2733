/** `tickwire/bot`: the framework of trading bots. */
export {};
