/** `tickwire/client`: what programs import to read a tickwire server, in Node and in a browser. */
export {};
