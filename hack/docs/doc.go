// Package docs reads the project's documents, so that tests can ask whether what they say holds: whether each link leads somewhere, and
// what is in their blocks of code.
package docs
