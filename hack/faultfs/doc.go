// Package faultfs is a file system for tests: it passes every call through to a
// local directory, by FUSE, and misbehaves on demand as an NFS share does. It
// delays, hangs, fails, does what it is asked and loses the answer, and forgets
// the handles it gave out. Nothing is cached by the kernel, so every call of a
// program reaches it.
//
// A program that waits for a call that hangs cannot be killed, not even by -9:
// release the call or Close the file system first.
package faultfs
