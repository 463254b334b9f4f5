package cluster

import "k8s.io/client-go/tools/cache"

// HasClaim reports whether there is a claim of that name, bound or not.
func (i *Informers) HasClaim(namespace, name string) bool {
	_, found, err := i.claims.GetStore().GetByKey(cache.NewObjectName(namespace, name).String())
	return err == nil && found
}
