// Package copies has the jobs that copy directories of a share, for volumes and snapshots. A job knows neither: it gets
// what it needs from whoever starts it.
//
// Start starts a job, or finds that it runs; Ended is called when it has ended, and Start then says for a while why it
// failed. So whoever waits for a copy asks again when it has ended, and nobody waits for bytes. A repeat goes on where the last run
// was cut off (see share.Copy), also in another process.
//
// Of each share only a few jobs run at a time. The namespaces take turns, and a job that takes long makes way when others
// wait, so that one tenant's endless tree does not hold up another's copy.
package copies
